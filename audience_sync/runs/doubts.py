"""Who is perhaps on a list and perhaps not: sent again where wanted, else taken off."""

from __future__ import annotations

from dataclasses import dataclass, replace

from audience_sync.errors import AwayError, StateError
from audience_sync.ledger.records.runs import Run
from audience_sync.membership.held import Manifest, apply, doubt, write_lines
from audience_sync.membership.lines import DOUBTFUL, Lines, no_lines
from audience_sync.runs.following import following_folder
from audience_sync.runs.generations import Generations
from audience_sync.runs.leases import Held


@dataclass(frozen=True)
class Doubts:
    """Puts whole lists in doubt, before or after something that nobody can tell the end of."""

    generations: Generations

    def everybody(self, run: Run, held: Held) -> bool:
        """The outbox is lost: all whom the partner perhaps holds are in doubt from now on.

        Those are who was held before and whom the plan foresaw. False when what the plan foresaw
        is lost too, so that whoever only this run sent is known to nobody.
        """
        remote = self.generations.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before = self.generations.membership(stored)
        settled = remote.manifest.get("run") == run.id
        foreseen, whole = (stored, True) if settled else self.generations.foreseen(run)
        partitions = max(stored.partitions, foreseen.partitions)
        after = self.generations.membership(foreseen)
        readable = [whole]

        def lines(partition: int) -> Lines:
            nothing = perhaps = no_lines({})
            try:
                perhaps = after.read(partition, partitions)
            except AwayError:
                raise  # nothing is lost; it is read when it answers again
            except StateError:
                readable.append(False)
            perhaps = perhaps.take(perhaps.alive)
            all_of_them = apply(
                before.read(partition, partitions), nothing, nothing, doubtful=perhaps
            )
            return doubt(all_of_them, all_of_them)

        manifest = self.generations.rewrite(run, remote, partitions, lines, held, mark=not settled)
        if not settled:
            self.generations.sweep(foreseen, manifest)
        return all(readable)

    def all_held(self, run: Run, held: Held) -> None:
        """Everybody who is held is in doubt, before the partner is asked to take all of them off.

        The run is still the one that was planned on it; the files that it looks at stay.
        """
        remote = self.generations.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before, files = self.generations.membership(stored), dict(stored.files)
        where, keyring = self.generations.location, self.generations.keyring
        for partition in stored.files:
            lines = before.read(partition, stored.partitions)
            if (lines.state[lines.alive] != DOUBTFUL).any():
                folder = f"{following_folder(run)}/doubted-{remote.generation}"
                files[partition] = f"{folder}/{partition}.sealed"
                write_lines(where, files[partition], keyring, lines.marked(lines.alive))
        left = set(stored.files.values()) - set(files.values())
        if left:
            doubted = replace(
                remote,
                generation=remote.generation + 1,
                manifest={
                    **remote.manifest,
                    **replace(stored, files=files).as_json(),
                    "base": remote.manifest.get("base", remote.generation),
                    "kept": sorted({*remote.manifest.get("kept", ()), *left}),
                },
            )
            lease = held[run.lease_name]
            self.generations.ledger.save_remote_list(
                doubted, expect_generation=remote.generation, lease=lease
            )
