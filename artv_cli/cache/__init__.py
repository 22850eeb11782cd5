"""The frame store: the format of its entries, its lock, and finding and keeping frames."""
