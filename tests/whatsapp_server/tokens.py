"""Words that the protocol writes as a position in its string table: only those that the server reads.

A position without a word here is carried along unread (``nodes.Token``).
"""

SINGLE_BYTE = {
    # tags
    25: "iq", 19: "message", 7: "receipt", 27: "ack", 31: "presence", 46: "chatstate", 29: "enc", 107: "participants",
    17: "to", 113: "list", 63: "item", 14: "user", 59: "device", 54: "device-list", 15: "devices", 109: "query",
    230: "device-identity", 65: "count", 158: "key", 173: "registration", 156: "identity", 108: "value", 37: "contact",
    58: "media_conn", 11: "status", 24: "notify", 68: "business", 52: "composing", 154: "paused",
    86: "ping", 76: "success", 168: "error",
    # attributes
    8: "id", 4: "type", 22: "xmlns", 6: "from", 21: "class", 12: "jid", 26: "t", 137: "name", 149: "edit",
    5: "participant", 148: "recipient", 38: "mediatype", 81: "v", 18: "offline", 16: "device_hash", 112: "code",
    80: "key-index",
    # values
    41: "get", 90: "set", 20: "result", 3: "s.whatsapp.net", 118: "lid", 28: "g.us", 203: "encrypt", 121: "usync",
    87: "w:p", 194: "w:m", 226: "privacy", 83: "pkmsg", 77: "msg", 136: "available", 48: "unavailable",
    98: "subscribe", 42: "read", 202: "played", 198: "inactive", 56: "text", 55: "media", 9: "notification",
    141: "401",
}  # fmt: skip

DOUBLE_BYTE = {
    (236, 24): "passive", (236, 1): "active", (236, 45): "skey", (236, 11): "retry", (236, 37): "sender",
    (237, 125): "meta", (236, 110): "account_sync", (236, 139): "stage", (236, 46): "reason",
    (236, 164): "500",
}  # fmt: skip
