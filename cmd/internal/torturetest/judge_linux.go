package torturetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"forebay/node/admin"
	"forebay/shipper"
	"forebay/shipper/session/receiver"
)

// named returns the seqs that a cursor says are lost.
func named(status admin.Status, cursor string) []shipper.Range {
	for _, c := range status.Cursors {
		if c.Name == cursor {
			return c.Lost
		}
	}
	return nil
}

func within(ranges []shipper.Range, seq uint64) bool {
	return slices.ContainsFunc(ranges, func(r shipper.Range) bool { return r.First <= seq && seq <= r.Last })
}

// judgeArrived holds what a destination has, seq -> key, against the log and the book. Each seq of the log is there, but
// for those that the cursor names; those it names are among those that were damaged.
func (w *world) judgeArrived(status admin.Status, cursor string, arrived, known map[uint64]string) {
	lost := named(status, cursor)
	for _, r := range lost {
		for seq := r.First; seq <= r.Last; seq++ {
			if !w.book.isCondemned(seq) {
				w.book.problem("%s: seq %d is named as lost, and nobody has damaged it", cursor, seq)
			}
		}
	}
	for seq := uint64(1); seq <= status.Log.DurableSeq; seq++ {
		if _, there := arrived[seq]; !there && !within(lost, seq) {
			w.book.problem("%s: seq %d (%s) is missing, and not named as lost", cursor, seq, known[seq])
		}
	}
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	keys := map[string]bool{}
	for seq, key := range arrived {
		keys[key] = true
		if seq > status.Log.DurableSeq {
			w.book.problemLocked("%s: seq %d (%s) has arrived, the log ends at %d", cursor, seq, key, status.Log.DurableSeq)
		}
		if promised, ok := w.book.seqs[seq]; ok && promised != key {
			w.book.problemLocked("%s: seq %d is %s, promised to %s", cursor, seq, key, promised)
		}
		if inLog, ok := known[seq]; ok && inLog != key {
			w.book.problemLocked("%s: seq %d is %s, in the log it is %s", cursor, seq, key, inLog)
		}
	}
	for key, seq := range w.book.keys {
		if !keys[key] {
			w.book.problemLocked("%s: event %s, accepted as seq %d, is missing", cursor, key, seq)
		}
	}
}

// judgeClickHouse reads the table.
func (w *world) judgeClickHouse(status admin.Status, firstKept uint64, known map[uint64]string) {
	text, err := w.clickhouse.Query("SELECT seq, idempotency_key FROM events FINAL FORMAT TabSeparated")
	if err != nil {
		w.book.problem("read the table: %v", err)
		return
	}
	arrived, byKey := map[uint64]string{}, map[string]uint64{}
	for line := range strings.Lines(text) {
		number, key, _ := strings.Cut(strings.TrimSpace(line), "\t")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			w.book.problem("the table has the line %q", line)
			continue
		}
		if _, twice := arrived[seq]; twice {
			w.book.problem("clickhouse: seq %d is there twice under FINAL", seq)
		}
		arrived[seq] = key
		// A key is known for as long as its event is in the log, whole.
		if other, twice := byKey[key]; twice && min(seq, other) >= firstKept && !w.book.isCondemned(min(seq, other)) {
			w.book.problem("event %s was stored twice, as seqs %d and %d", key, other, seq)
		}
		byKey[key] = max(seq, byKey[key])
	}
	w.judgeArrived(status, "clickhouse", arrived, known)
	if w.tokens && !w.rewound {
		counts, err := w.clickhouse.Query("SELECT count() - uniqExact(seq) FROM events")
		if err != nil || strings.TrimSpace(counts) != "0" {
			w.book.problem("with tokens and without FINAL there are %s rows too many (%v)", counts, err)
		}
	}
}

// at is a session's place in the order of a log. A replay has a log ID of its own.
type at struct {
	log        string
	epoch, seq uint64
}

// judgeReceiver reads what the receiver took: each event once in an epoch, in order within its session but for fills,
// which come late by agreement. Of a replay likewise, but that all of it need not be there.
func (w *world) judgeReceiver(status admin.Status, known map[uint64]string) {
	arrived := map[uint64]string{}
	taken := map[at]bool{}           // by log, epoch and seq
	sessions := map[[2]string]at{}   // where each session is, by log
	sessionOf := map[uint64]string{} // of each seq
	err := receiver.ReadStateFile(w.journal, func(d receiver.Delivery) error {
		replay := d.LogID != status.LogID
		if replay && !d.Replay {
			w.book.problem("session: seqs %v came from the log %s, which is %s", d.Seqs, d.LogID, status.LogID)
		}
		name := [2]string{d.LogID, d.Session}
		place := sessions[name]
		if len(d.Fill) == 0 && d.Epoch < place.epoch {
			return fmt.Errorf("session %s goes back from epoch %d to %d", d.Session, place.epoch, d.Epoch)
		}
		for i, seq := range d.Seqs {
			key := keyIn(d.Events[i])
			if taken[at{d.LogID, d.Epoch, seq}] {
				w.book.problem("session: seq %d (%s) took effect twice in epoch %d", seq, key, d.Epoch)
			}
			if other, ok := sessionOf[seq]; ok && other != d.Session {
				w.book.problem("session: seq %d came for %s and for %s", seq, other, d.Session)
			}
			if before, ok := arrived[seq]; ok && before != key {
				w.book.problem("session: seq %d was %s and is %s", seq, before, key)
			}
			if inLog, ok := known[seq]; ok && replay && inLog != key {
				w.book.problem("session: seq %d is replayed as %s, in the log it is %s", seq, key, inLog)
			}
			taken[at{d.LogID, d.Epoch, seq}], sessionOf[seq] = true, d.Session
			if !replay {
				arrived[seq] = key
			}
			if len(d.Fill) > 0 {
				continue
			}
			if d.Epoch == place.epoch && seq <= place.seq {
				w.book.problem("session %s: seq %d came after seq %d of epoch %d", d.Session, seq, place.seq, d.Epoch)
			}
			place = at{d.LogID, d.Epoch, seq}
		}
		sessions[name] = place
		return nil
	})
	if err != nil {
		w.book.problem("what the receiver took: %v", err)
	}
	w.judgeArrived(status, "session", arrived, known)
}
