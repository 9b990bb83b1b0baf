"""LoRA Studio: fine-tune language models by clicking.

    python app.py               open the studio in the browser
    python app.py demo          fine-tune and compare in the terminal, without a browser

Reads the arguments and starts what was asked for. `python -m studio` has all the rest for scripts.
"""

import argparse
import sys
from pathlib import Path


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line, as `--help` explains it."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Fine-tune language models by clicking.")
    parser.add_argument("--data-dir", type=Path, help="where models, data sets, runs and adapters are kept")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="the next free port is taken when it is in use")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--allowed-host", action="append", default=[], help="answer to this name, too; repeatable")
    demo = parser.add_subparsers(dest="command").add_parser("demo", help="the main job, in the terminal")
    demo.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help="where to keep it all")
    demo.add_argument("--json", action="store_true", help="print one object of figures on stdout")
    demo.add_argument("--max-seconds", type=float, help="stop the training, and keep the adapter, after this long")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Start what was asked for and return the exit code: 0 done, 1 failed, 2 asked for what cannot be."""
    from studio.edge import at_the_edge

    asked = arguments(given)
    if asked.command == "demo":
        from studio.demo import demo

        return at_the_edge(lambda: demo(asked.data_dir, as_json=asked.json, max_seconds=asked.max_seconds))
    from studio.launch import serve

    return at_the_edge(
        lambda: serve(
            asked.data_dir,
            host=asked.host,
            port=asked.port,
            browser=not asked.no_browser,
            allowed_hosts=asked.allowed_host,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
