"""The pool of the section ``assess`` once more, in a process of its own: says its digest."""

import argparse

from gpu_sections.assess import own_digest


def main() -> None:
    """Say it in one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("count", type=int)
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    print(own_digest(options.device, options.toy, options.count), flush=True)


if __name__ == "__main__":
    main()
