"""Who calls and what they may: credentials, tokens, keys, access rules, identity onward."""
