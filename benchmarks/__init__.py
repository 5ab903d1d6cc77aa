"""What we claim, measured again: `python -m benchmarks NAME [--quick] --json FILE`."""
