"""RateLimiter alone: 5 messages in 10 seconds, on the messages' own time."""

from tecnobot_core import RateLimiter

# A burst, someone else, a second burst when the first second is over; one message comes late.
MESSAGES = [
    *[("ana", 100.0 + second) for second in range(7)],
    ("berta", 106.5),
    ("ana", 110.0),
    ("ana", 110.5),
    ("ana", 103.5),
    ("ana", 111.0),
]


def main() -> None:
    """Show each mode with the same messages."""
    # "sliding" never lets more through in any 10 seconds; "cooldown" is silent until the window is over.
    for limiter, name in (
        (RateLimiter(5, 10.0), "sliding"),
        (RateLimiter(5, 10.0, "cooldown"), "cooldown"),
    ):
        print(name)
        for sender, at in MESSAGES:
            wait_s = limiter.hit(sender, at)
            if not wait_s:
                print(f"  {at:6.1f} s  {sender:5}  admitted")
            elif limiter.should_tell(sender, at):
                print(f"  {at:6.1f} s  {sender:5}  refused, and told to wait {wait_s:.0f} s")
            else:
                print(f"  {at:6.1f} s  {sender:5}  refused, {wait_s:.1f} s left; told before")
        print(f"  {limiter.statistics()}")


if __name__ == "__main__":
    main()
