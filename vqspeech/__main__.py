"""`python -m vqspeech` and `torchrun -m vqspeech`: the command line."""

from vqspeech.cli.main import main

if __name__ == "__main__":
    main(prog_name="vqspeech")
