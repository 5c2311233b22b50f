"""Which weights may be published, under which licence, and with which notices."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.errors import UserError

WEIGHTS = "CC-BY-SA-3.0"  # the licence of all published weights
WIDTH = 80


@dataclass(frozen=True)
class Licence:
    """What the licence of a recording means for weights trained on it.

    Whether weights are a derived work of the recordings is not settled. Here they are treated as one, because
    this violates nobody's terms.

    Args:
        url: address of its text; empty if the notice of the package is the text.
        fits: whether its terms allow weights under CC-BY-SA-3.0.
    """

    url: str = ""
    fits: bool = True


# By the name in the recipe.
LICENCES = {
    "CC-BY-SA-3.0": Licence("https://creativecommons.org/licenses/by-sa/3.0/legalcode"),
    "CC-BY-SA-3.0-IT": Licence("https://creativecommons.org/licenses/by-sa/3.0/it/legalcode"),
    "CC-BY-3.0": Licence("https://creativecommons.org/licenses/by/3.0/legalcode"),
    "BSD-like": Licence(),
    "BSD-2-Clause with a clause against endorsement": Licence(),
    "GPL-2.0-only": Licence("https://www.gnu.org/licenses/old-licenses/gpl-2.0.txt", fits=False),
}
SHARE_ALIKE = ("CC-BY-SA-3.0", "CC-BY-SA-3.0-IT")

ALLISON = """\
Recorded by Allison Smith (http://www.theivrvoice.com). Financial contributions
by Digium, Inc. (http://www.digium.com)."""
# By Debian package: notices that its copyright file asks for, besides holder and licence. Notices that have
# to be retained are given in full.
NOTICES = {
    "asterisk-core-sounds-en-g722": ALLISON,
    "asterisk-core-sounds-es-g722": ALLISON,
    "asterisk-core-sounds-fr-g722": """\
Recorded by June Wallack (http://www.junewallack.com). Translated into French by
Clod Patry, Kristopher Lalletti and June Wallack. Financial contributions by
Digium, Inc. (http://www.digium.com), Unlimitel (http://www.unlimitel.ca) and
BGM Informatique (www.bgm.qc.ca).""",
    "asterisk-core-sounds-it-g722": """\
Recorded by Carlo Flora (http://www.carloflora.com). Voice available making an
order at http://www.segreterietelefoniche.it. Translated by Silvia Petrin from
original English distributed from http://www.digium.com.""",
    "asterisk-core-sounds-ru-g722": "Provided by Maxim Topal, http://www.ivrvoice.ru.",
    "asterisk-prompt-it-menardi-wav": """\
The sound files were made by Marco Menardi and his wife Paola Dal Zot. The files,
updates of them and other voices: http://www.voip.ammdomus.it. The English texts
that the Italian ones were translated from are Copyright Digium
(http://www.digium.com).""",
    "festvox-ru": """\
             Nickolay V. Shmyrev  Copyright (c) 2005
                      All Rights Reserved.

Permission is hereby granted, free of charge, to use and distribute
this software and its documentation without restriction, including
without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of this work, and to
permit persons to whom this work is furnished to do so, subject to
the following conditions:
 1. The code must retain the above copyright notice, this list of
    conditions and the following disclaimer.
 2. Any modifications must be clearly marked as such.
 3. Original authors' names are not deleted.
 4. The authors' names are not used to endorse or promote products
    derived from this software without specific prior written
    permission.

THE AUTHOR AND THE CONTRIBUTORS TO THIS WORK
DISCLAIM ALL WARRANTIES WITH REGARD TO THIS SOFTWARE, INCLUDING
ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS, IN NO EVENT
SHALL THE UNIVERSITY OF EDINBURGH NOR THE CONTRIBUTORS BE LIABLE
FOR ANY SPECIAL, INDIRECT OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION,
ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.""",
    "asterisk-prompt-fr-armelle": """\
Voice actor: Armelle Desjardins

Copyright (C) 2006 Michel Gutierrez

Redistribution and use, with or without modification, are permitted
provided that the following conditions are met:
1. Redistributions must retain the above copyright notice, this
   list of conditions and the following disclaimer.
2. Neither the name of the Indigen Solutions nor the names of its
   contributors, contractors and employees may be used to endorse
   or promote products derived from this software without specific
   prior written permission.

THIS SOFTWARE IS PROVIDED BY THE REGENTS AND CONTRIBUTORS ``AS IS'' AND
ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE
ARE DISCLAIMED.  IN NO EVENT SHALL THE REGENTS OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS
OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION)
HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT
LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY
OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF
SUCH DAMAGE.""",
}
ADD_IT = "add it to espnet_wsm/pretraining/licences.py"


@dataclass(frozen=True)
class UsedSource:
    """Recordings that a model was trained on, as the recipe's ``sources.json`` has them.

    Args:
        name: name in the recipe.
        language: ISO 639-1 code.
        licence: a key of ``LICENCES``.
        holder: holder of the copyright.
        package: Debian package.
        minutes: duration without copies at other speeds.
    """

    name: str
    language: str
    licence: str
    holder: str
    package: str
    minutes: float


def read_sources(file: Path) -> list[UsedSource]:
    """Read ``sources.json``.

    Raises:
        UserError: the file is missing or damaged, or a licence or notice is unknown.
    """
    fields = ("language", "licence", "holder", "package", "minutes")
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        sources = [UsedSource(name, *(entry[field] for field in fields)) for name, entry in entries.items()]
    except FileNotFoundError:
        raise UserError(
            f"{file} does not exist: it says what the model was trained on; run stage 1"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error!r}): run stage 1 again") from error
    if not sources:
        raise UserError(f"{file} names no source: run stage 1 again")
    for source in sources:
        if source.licence not in LICENCES:
            known = ", ".join(LICENCES)
            raise UserError(
                f"{file}: licence {source.licence!r} of {source.name} is not one of {known}: {ADD_IT}"
            )
        if not LICENCES[source.licence].url and source.package not in NOTICES:
            raise UserError(
                f"{file}: {source.name} is {source.licence}, but no notice of {source.package} is known: "
                f"{ADD_IT}"
            )
    return sources


def refuse_exclusive(sources: list[UsedSource]) -> None:
    """Refuse sources whose combination allows no published weights.

    Raises:
        UserError: names a source that does not allow it, and one that allows no other licence.
    """
    alien = next((source for source in sources if not LICENCES[source.licence].fits), None)
    if alien is None:
        return
    strict = next((source for source in sources if source.licence in SHARE_ALIKE), None)
    reason = f", and {strict.name} ({strict.licence}) allows no other licence" if strict else ""
    raise UserError(
        f"{alien.name} ({alien.licence}) does not allow weights under {WEIGHTS}{reason}: pre-train without "
        "either, or export for yourself alone with --private true"
    )


def write_licence(sources: list[UsedSource]) -> str:
    """The file ``LICENSE`` of weights trained on ``sources``."""
    head = (
        f"These weights are licensed under {WEIGHTS} (Creative Commons Attribution-ShareAlike 3.0 Unported), "
        f"{LICENCES[WEIGHTS].url}",
        "They were trained on the recordings below, which were modified for it: resampled, partly copied at "
        "other speeds, partly left out. Their holders have had no part in the weights and do not endorse "
        "them. The weights come as they are, without any warranty.",
    )
    parts = [textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False) for part in head]
    for source in sources:
        url = LICENCES[source.licence].url
        parts += [
            "-" * WIDTH + f"\n{source.name}, from the Debian package {source.package}\n"
            f"Copyright {source.holder}\nLicence: {source.licence}" + (f", {url}" if url else ""),
            *([NOTICES[source.package]] if source.package in NOTICES else []),
        ]
    return "\n\n".join(parts)
