"""Print the fingerprints of the first N scenarios as JSON: what a column in a process of its own runs."""

import json
import sys

from tests.determinism.columns import baseline
from tests.determinism.scenarios import scenarios

if __name__ == "__main__":
    print(json.dumps(baseline(scenarios(int(sys.argv[1])))))
