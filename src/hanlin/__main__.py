"""`python -m hanlin`: the same as the `hanlin` command."""

from hanlin.cli.main import main

main()
