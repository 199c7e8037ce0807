"""`python -m liftos_cli` is `liftos`."""

from liftos_cli.main import main

if __name__ == "__main__":
    main()
