"""`python -m bittygpt.config` prints the JSON schema that configs/schema.json holds."""

import sys

from bittygpt.config.run_config import schema_text

if __name__ == "__main__":
    sys.stdout.write(schema_text())
