"""Speed, measured in pairs and printed as ratios; nothing here passes or fails."""
