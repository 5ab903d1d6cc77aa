"""Rules for norms and rotary positions against torch's own derivative of the layers they stand for."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, jvp
from transformers.models.cohere.modeling_cohere import apply_rotary_pos_emb as interleaved
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as halves

from hf_datasel.proxy.engines.dual_layers import is_rotation, norm_rule, replaced, rotary


def made(kind):
    torch.manual_seed(0)
    module = kind(16, eps=1e-3).requires_grad_(False)
    module.weight.data = torch.randn(16)
    return module


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma2RMSNorm])
@pytest.mark.parametrize("moves", ["both", "states"])
def test_norm_and_its_tangent(kind, moves):
    norm = made(kind)
    x, dx, dw = torch.randn(2, 5, 16) * 0.05, torch.randn(2, 5, 16), torch.randn(16) * (moves == "both")
    expected, slope = jvp(lambda x, w: functional_call(norm, {"weight": w}, (x,)), (x, norm.weight), (dx, dw))
    with forward_ad.dual_level(), torch.no_grad(), replaced([(norm, "forward", norm_rule(norm))]):
        weight = forward_ad.make_dual(norm.weight.detach(), dw) if moves == "both" else norm.weight
        output = functional_call(norm, {"weight": weight}, (forward_ad.make_dual(x, dx),))
        found, tangent = forward_ad.unpack_dual(output)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(tangent, slope, rtol=1e-5, atol=1e-5)
    assert "forward" not in vars(norm)  # as it was


def test_another_norm_gets_no_rule():
    class MorePower(LlamaRMSNorm):
        def forward(self, hidden_states):
            return super().forward(hidden_states) * 1.001

    class OtherEpsilon(LlamaRMSNorm):
        def forward(self, hidden_states):
            self.variance_epsilon *= 2
            try:
                return super().forward(hidden_states)
            finally:
                self.variance_epsilon /= 2

    assert norm_rule(made(LlamaRMSNorm)) is not None
    assert norm_rule(made(MorePower)) is None
    assert norm_rule(made(OtherEpsilon)) is None
    assert norm_rule(torch.nn.LayerNorm(16)) is None
    assert norm_rule(torch.nn.Linear(4, 4)) is None


def test_rotation_and_its_tangent():
    torch.manual_seed(0)
    q, dq, (cos, sin) = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8), torch.randn(2, 2, 5, 8)
    k, dk = torch.randn(2, 2, 1, 5, 8)
    expected, slopes = jvp(lambda q, k: halves(q, k, cos, sin), (q, k), (dq, dk))
    with forward_ad.dual_level(), torch.no_grad():
        turned = rotary(halves, forward_ad.make_dual(q, dq), forward_ad.make_dual(k, dk), cos, sin)
        pairs = [forward_ad.unpack_dual(states) for states in turned]
    for (found, tangent), whole, slope in zip(pairs, expected, slopes, strict=True):
        assert torch.allclose(found, whole, atol=1e-6)
        assert torch.allclose(tangent, slope, atol=1e-6)


def test_another_rotation_gets_no_rule():
    assert is_rotation(halves)
    assert not is_rotation(interleaved)
    # Half of each head turned: the model's own function does it.
    with torch.no_grad():
        q, k, cos = torch.randn(1, 1, 2, 8), torch.randn(1, 1, 2, 8), torch.randn(1, 2, 4)
        assert rotary(lambda *given, unsqueeze_dim: given, q, k, cos, cos)[0] is q
