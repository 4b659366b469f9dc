"""What `iqaflow assess` takes on large photographs: seconds and peak memory (VmHWM) of one command, libraries and model included.

python perf/large.py [--model models/base-tiny] [--megapixels 12 50]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import skimage

# run in a process of its own, so that the peak is that of one command
ASSESS = """
import sys, time
from pathlib import Path
import torch
import iqaflow
torch.set_num_threads(1)
model = iqaflow.load(sys.argv[1])
begun = time.perf_counter()
result = model.assess(sys.argv[2])
spent = time.perf_counter() - begun
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(spent, time.process_time(), int(peak.split()[1]) / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/base-tiny")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.24, 12, 50])
    chosen = parser.parse_args()
    photograph = skimage.data.coffee()
    print("| image | s, once loaded | CPU s, whole process | peak memory, MiB |\n|---|---|---|---|")
    for megapixels in chosen.megapixels:
        scale = (megapixels * 1e6 / (photograph.shape[0] * photograph.shape[1])) ** 0.5
        size = round(photograph.shape[1] * scale), round(photograph.shape[0] * scale)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.jpg"
            enlarged = cv2.resize(photograph, size, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(path), cv2.cvtColor(enlarged, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
            command = [sys.executable, "-c", ASSESS, chosen.model, str(path)]
            done = subprocess.run(command, check=True, text=True, capture_output=True)
        spent, processor, peak = map(float, done.stdout.split())
        print(f"| {size[0]}x{size[1]} ({megapixels:g} MPix) | {spent:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
