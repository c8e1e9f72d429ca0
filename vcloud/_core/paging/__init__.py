"""Lists that are read page by page: the pager, and how each kind of service numbers its pages."""
