package shipper

import (
	"errors"
	"fmt"
	"slices"

	"forebay/wal"
	"forebay/wal/record"
)

// detach gives the Raw of events memory of their own, one piece for those of a
// session that stand together.
func detach(events []Event) {
	for len(events) > 0 {
		n, size := 0, 0
		for n < len(events) && events[n].Session == events[0].Session {
			size += len(events[n].Raw)
			n++
		}
		piece := make([]byte, 0, size)
		for i := range n {
			start := len(piece)
			piece = append(piece, events[i].Raw...)
			events[i].Raw = piece[start:len(piece):len(piece)]
		}
		events = events[n:]
	}
}

// unpack appends the events of a block that are not before from. An entry that
// passed the block's checksum and yet is no record of as many events as it
// counts is named lost, it alone: nobody guesses at its content. A record of a
// newer version is not lost: unpack returns a *PauseError that names it, and of
// the block nothing. Batch is memory to decode into.
func unpack(block *wal.Block, batch *record.Batch, from uint64, events []Event, lost []wal.Gap) ([]Event, []wal.Gap, error) {
	had, hadLost := len(events), len(lost)
	for _, g := range block.Gaps {
		if g.Last >= from {
			g.First = max(g.First, from)
			lost = append(lost, g)
		}
	}
	for first, entry := range block.Entries() {
		last := first + uint64(entry.Events) - 1
		if last < from {
			continue
		}
		err := batch.Decode(entry.Data)
		if newer := (*record.VersionError)(nil); errors.As(err, &newer) {
			clear(events[had:])
			return events[:had], lost[:hadLost], &PauseError{
				Reason: fmt.Sprintf("the log was written by a newer release from seq %d on: run that release again", first),
				Err:    newer,
			}
		}
		if err != nil || len(batch.Events) != entry.Events {
			lost = append(lost, wal.Gap{
				First: max(first, from), Last: last,
				Reason: "record cannot be decoded", File: block.File, Offset: block.Offset,
			})
			continue
		}
		events = slices.Grow(events, len(batch.Events))
		for i, e := range batch.Events {
			seq := first + uint64(i)
			if seq < from {
				continue
			}
			events = append(events, Event{
				Seq: seq, LogID: block.LogID, ReceivedAt: block.Time, Adjusted: block.Adjusted,
				Project: batch.Project, SDKVersion: batch.SDKVersion, AppID: batch.AppID,
				Session: e.Session, Raw: e.Raw,
			})
		}
		clear(batch.Events) // lets go of the block
	}
	return events, lost, nil
}
