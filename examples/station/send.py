"""Sends a picture to a station and prints its verdict: python send.py MODEL PICTURE."""

import json
import os
import sys
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

station = os.environ.get("STATION", "http://127.0.0.1:8000")
model, picture = sys.argv[1], Path(sys.argv[2])
request = Request(f"{station}/v1/models/{quote(model)}/inspect?part_id={quote(picture.stem)}")
request.data = picture.read_bytes()
request.add_header("Content-Type", "application/octet-stream")
if "TOKEN" in os.environ:
    request.add_header("Authorization", f"Bearer {os.environ['TOKEN']}")
with urlopen(request, timeout=60) as answer:
    (row,) = json.load(answer)["inspections"]
print(row["part_id"], row["verdict"], f"score {row['score']:.2f}, no. {row['id']}")
