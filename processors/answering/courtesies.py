"""Answers greetings, thanks and goodbyes, for which no article is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GREETING = re.compile(
    r"(?:hi|hello|hey|good (?:morning|afternoon|evening|day))(?: there| again| everyone)?"
)
_THANKS = re.compile(
    r"(?:(?:ok|okay|great|perfect|super|cool|alright) )?"
    r"(?:thanks?(?: you)?|many thanks|cheers|thx)(?: so much| very much| a lot| again)?"
    r"(?: for (?:your|the) help)?|(?:that )?(?:helped|helps)(?: a lot)?"
)
_GOODBYE = re.compile(r"(?:good ?bye|bye|bye bye|see you(?: later| soon)?|good ?night)")


def courtesy(message: str, topics: Sequence[str]) -> str | None:
    """A reply to a message that is nothing but a courtesy, else none."""
    said = " ".join(re.findall(r"\w+", message.lower()))
    if _GREETING.fullmatch(said):
        about = f" about {', '.join(topics)} or anything else" if topics else ""
        return f"Hello! Ask me{about}, and I will look it up in our help articles."
    if _THANKS.fullmatch(said):
        return "You are welcome! Is there anything else that I can look up for you?"
    if _GOODBYE.fullmatch(said):
        return "Goodbye! I am here whenever you have another question."
    return None
