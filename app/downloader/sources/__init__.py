"""Where models come from: one module a source, each behind app.downloader.listing.Source."""
