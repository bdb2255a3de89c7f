"""WhatsApp through neonize, which runs in a supervised process of its own."""

from .transport import WhatsAppTransport as WhatsAppTransport
