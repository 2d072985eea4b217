"""`python -m headrace.cli`: the `headrace` command by the interpreter that runs it."""

from headrace.cli import main

main()
