package node

import (
	"fmt"
	"strings"
	"time"

	"forebay/node/admin"
	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
)

// unprovenAfter, plus three rounds of the watch, is how long nothing may be
// proven before the check says so.
const unprovenAfter = 5 * time.Minute

func (n *Node) openAudits() (err error) {
	n.audits, err = shipper.NewAudits(shipper.AuditOptions{
		Cursors: n.cursors, Open: n.destination, Watch: n.cfg.Audit.Every, Logger: n.logger.With("part", "audit"),
	})
	return err
}

// destination is what an audit of the cursor asks.
func (n *Node) destination(cursor string) (d shipper.AuditTarget, err error) {
	cfg := n.config()
	switch cursor {
	case clickhouseCursor:
		o := ClickHouseOptions(cfg)
		o.Logger = n.logger.With("part", "audit")
		prover, err := clickhouse.NewProver(o)
		if err != nil {
			return d, fmt.Errorf("shippers.clickhouse: %w", err)
		}
		healer, err := clickhouse.New(o)
		return shipper.AuditTarget{Prover: prover, Healer: healer, Flush: clickhouseFlush(cfg), Close: prover.Close}, err
	case sessionCursor:
		prover, err := session.NewProver(sessionOptions(cfg))
		if err != nil {
			return d, fmt.Errorf("shippers.session: %w", err)
		}
		return shipper.AuditTarget{Prover: prover, Once: true, Close: prover.Close}, nil
	}
	return d, fmt.Errorf("%w: the destination of cursor %s cannot be audited, those of clickhouse and session can", shipper.ErrRefused, cursor)
}

// proven: is what was delivered still seen to be there? watched is false if
// there is no watch.
func (h *health) proven(now time.Time) (c admin.Check, watched bool) {
	every, all := h.node.audits.Watch()
	return provenCheck(now, every, all), every > 0
}

func provenCheck(now time.Time, every time.Duration, all []shipper.Watched) admin.Check {
	const name = "proven"
	var reasons, remedies []string
	for _, w := range all {
		switch {
		case w.NotOffered:
		case w.Missing > 0:
			first := w.Holes[0]
			reasons = append(reasons, fmt.Sprintf("%d events that cursor %s has delivered are missing, the first are seq %d to %d", w.Missing, w.Cursor, first.First, first.Last))
			remedies = append(remedies, fmt.Sprintf("forebay audit %s names them; find out who removed them", w.Cursor))
			if w.Cursor == clickhouseCursor {
				remedies = append(remedies, "forebay audit clickhouse --fill delivers those alone that the log still holds")
			}
		case now.Sub(w.Unproven()) > unprovenAfter+3*every:
			cause := "the last question has no answer yet"
			if w.Error != "" {
				cause = w.Error
			}
			reasons = append(reasons, fmt.Sprintf("nothing that cursor %s has delivered was proven since %s, seq %d was the last: %s",
				w.Cursor, w.Unproven().UTC().Format(time.RFC3339), w.ProvenSeq, cause))
			remedies = append(remedies, "mend the destination of cursor "+w.Cursor)
		}
	}
	if len(reasons) > 0 {
		return bad(name, true, strings.Join(remedies, "; "), "%s", strings.Join(reasons, "; "))
	}
	return good(name)
}
