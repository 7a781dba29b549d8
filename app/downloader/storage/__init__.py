"""The volume: where unfinished files lie, how a folder becomes visible, what is removed, and who may write."""

from app.downloader.storage.disk import human, sync_file
from app.downloader.storage.publish import Finished, own_entry
from app.downloader.storage.volume import MARGIN, Volume

__all__ = ["MARGIN", "Finished", "Volume", "human", "own_entry", "sync_file"]
