"""``python -m`` is the same as the ``sampan`` command."""

from sampan.cli.program import main

raise SystemExit(main())
