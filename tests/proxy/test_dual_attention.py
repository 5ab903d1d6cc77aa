"""The rule for attention against torch's own derivative of attention written out, over several blocks of queries."""

import pytest
import torch
from torch.autograd import forward_ad

from hf_datasel.proxy.engines.dual_attention import BLOCK, dual_attention


@pytest.mark.parametrize("looks", ["back", "everywhere", "through a mask"])
def test_output_and_tangent(looks):
    torch.manual_seed(0)
    length = 2 * BLOCK + 5
    q, dq = torch.randn(2, 2, 4, length, 8, dtype=torch.float64)
    k, dk, v, dv = torch.randn(4, 2, 2, length, 8, dtype=torch.float64)  # two heads of queries for each of keys
    seen = torch.ones(length, length, dtype=torch.bool)
    mask = None
    if looks == "back":
        seen = seen.tril()
    if looks == "through a mask":
        mask = (torch.rand(2, 1, length, length) > 0.3) | torch.eye(length, dtype=torch.bool)
        seen = mask

    def plain(query, key, value):
        key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
        scores = (query @ key.transpose(-1, -2) / 8**0.5).masked_fill(~seen, float("-inf"))
        return (scores.softmax(-1) @ value).transpose(1, 2)

    expected, slope = torch.func.jvp(plain, (q, k, v), (dq, dk, dv))
    module = torch.nn.Module()
    module.is_causal = looks == "back"
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(*pair) for pair in ((q, dq), (k, dk), (v, dv))]
        output, _ = dual_attention(module, *duals, mask)
        found, tangent = forward_ad.unpack_dual(output)
    assert torch.allclose(found, expected, atol=1e-12)
    assert torch.allclose(tangent, slope, atol=1e-12)
