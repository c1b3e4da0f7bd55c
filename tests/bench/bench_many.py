"""Compare `download_many` with `curl --parallel` and `aria2c -j16 -i`, interleaved in one run.

    python tests/bench/bench_many.py [--only batch,batch-40ms] [--rounds 5] [--folder /tmp]
                                     [--json FILE]

200 files of 256 KiB and 1000 of 32 KiB from a local nginx, 16 at once, and the 200 files with a
round trip of 40 ms (needs root). Requirements, conditions and columns (also the peak memory of each
client) are those of `bench_download.py`, of which these are two workloads. vidnb computes the
SHA-256 of each file, checks it and keeps a ledger; curl and aria2c do not.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # At first only the folder of the script is on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.bench.bench_download import main

    main(__doc__, only="batch,batch-40ms", mib=1)
