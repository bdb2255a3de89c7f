"""The process in which the WhatsApp library lives. Imports nothing of the bot, only the standard library."""
