"""Starts the app: facial expressions in photos, live video, videos and many files at once, in the browser.

    python app.py
    python app.py --model outputs/faces --face_detector face_detection_yunet_2023mar.onnx

This is what a Space of the Hugging Face Hub runs, as it stands; `involvit app` starts the same page. Each tab is also
an endpoint of the API and a tool for agents (MCP); the page's footer documents both. Gradio's own environment variables
set address and port: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.
"""

import sys

from involvit.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
