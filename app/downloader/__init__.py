"""The downloader: brings a model onto a volume whole, verified and visibly. What it is told: app.contracts.download."""
