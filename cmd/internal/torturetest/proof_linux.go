package torturetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"forebay/node/admin"
	"forebay/shipper"
)

// replay delivers a part of the log once more to the receiver, beside the live cursor.
func (w *world) replay(r *rand.Rand) (func(), error) {
	share, length, rate := r.Float64(), r.Uint64N(2000), r.IntN(2)*500
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	s, err := w.admin.Status(ctx)
	if err != nil {
		return nil, err
	}
	if s.Log.DurableSeq <= s.Log.FirstSeq {
		return nil, errors.New("the log is empty")
	}
	first := s.Log.FirstSeq + uint64(share*float64(s.Log.DurableSeq-s.Log.FirstSeq))
	_, err = w.admin.StartReplay(ctx, admin.ReplayRequest{Command: admin.Command{By: operator}, Apply: true, ReplaySpec: shipper.ReplaySpec{
		Destination: shipper.Destination{Into: "session"}, First: first, Last: min(first+length, s.Log.DurableSeq), Rate: rate,
	}})
	return nil, err
}

// open are the replays that have not ended.
func (w *world) open(ctx context.Context) (open []shipper.Replay, err error) {
	all, err := w.admin.Replays(ctx)
	for _, r := range all {
		if r.State != shipper.Done && r.State != shipper.Canceled {
			open = append(open, r)
		}
	}
	return open, err
}

func (w *world) cancelReplay(r *rand.Rand) (func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	open, err := w.open(ctx)
	if err == nil && len(open) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, err
	}
	_, err = w.admin.CancelReplay(ctx, open[r.IntN(len(open))].Name, admin.Command{By: operator})
	return nil, err
}

// audit begins one in the middle of everything. What it finds is not judged: its destination may be down.
func (w *world) audit(r *rand.Rand) (func(), error) {
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		_, err := w.admin.StartAudit(ctx, admin.AuditRequest{Command: admin.Command{By: operator}, Cursor: name})
		return err
	})
}

// reload has the node read its configuration again, which has not changed.
func (w *world) reload(*rand.Rand) (func(), error) {
	// Before the program has asked for signals this one ends it.
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if _, err := w.admin.Status(ctx); err != nil {
		return nil, err
	}
	if pid := w.node.pid(); pid != 0 {
		return nil, syscall.Kill(pid, syscall.SIGHUP)
	}
	return nil, errors.New("the node does not run")
}

// endReplays waits until each replay has come to its end.
func (w *world) endReplays() bool {
	return w.eventually("every replay is done", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
		defer cancel()
		open, err := w.open(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, r := range open {
			if r.State != shipper.Running { // what could not be opened or was refused meanwhile
				_, _ = w.admin.ResumeReplay(ctx, r.Name, admin.Command{By: operator}) // asked again if it did not work
			}
		}
		return len(open) == 0, fmt.Sprintf("%+v", open)
	})
}

// judgeAudits has the node prove, of either cursor, that all that it shipped is there.
func (w *world) judgeAudits() {
	ctx := context.Background()
	for _, cursor := range []string{"clickhouse", "session"} {
		var begun, now *shipper.AuditReport
		w.eventually("an audit of "+cursor+" is done", func() (bool, string) {
			s, err := w.admin.Audit(ctx)
			if err != nil {
				return false, err.Error()
			}
			if now = s.Audit; now != nil && now.State == shipper.AuditRunning {
				return false, fmt.Sprintf("%+v", *now)
			}
			if begun != nil {
				return true, ""
			}
			r, err := w.admin.StartAudit(ctx, admin.AuditRequest{Command: admin.Command{By: operator}, Cursor: cursor})
			if err == nil {
				begun = &r
			}
			return false, fmt.Sprint("begun: ", err)
		})
		switch {
		case now == nil || now.State != shipper.AuditDone || now.Cursor != cursor:
			w.book.problem("the audit of %s came to no end: %+v", cursor, now)
		case now.Missing > 0 || now.Lasting > 0 || now.Compared == 0 || cursor == "clickhouse" && w.tokens && !w.rewound && now.Doubles > 0:
			w.book.problem("the audit of %s is not clean: %+v", cursor, *now)
		}
	}
}
