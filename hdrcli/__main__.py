"""``python -m hdrcli``."""

import sys

from hdrcli.cli.app import main

sys.exit(main())
