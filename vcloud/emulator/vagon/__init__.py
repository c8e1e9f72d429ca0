"""What the two emulated Vagon APIs share: signatures, envelope, paging, account."""
