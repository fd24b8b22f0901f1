package admin

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
)

// maxImport bounds one import of dead letters in bytes; a larger export is
// imported in parts.
const maxImport = 64 << 20

// dead streams dead letters as JSON lines; the query filters: project,
// session, reason, since, until (RFC 3339), seq, limit.
func (a *api) dead(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		c, err := a.named(p)
		if err != nil {
			return err
		}
		f, err := deadFilter(r)
		if err != nil {
			return err
		}
		return c.Dead(f, func(d shipper.DeadLetter) error { return line(d) })
	})
}

func deadFilter(r *http.Request) (f shipper.DeadFilter, err error) {
	q := r.URL.Query()
	f = shipper.DeadFilter{Project: q.Get("project"), Session: q.Get("session"), Reason: q.Get("reason")}
	if f.Since, err = timeParam(r, "since"); err != nil {
		return f, err
	}
	if f.Until, err = timeParam(r, "until"); err != nil {
		return f, err
	}
	for _, text := range q["seq"] {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return f, refuse(http.StatusBadRequest, "seq=%q is not a number", text)
		}
		f.Seqs = append(f.Seqs, seq)
	}
	limit, err := number(r, "limit", 0)
	f.Limit = int(min(limit, math.MaxInt32))
	return f, err
}

// changeDead is the handler of requeue and discard.
func (a *api) changeDead(change func(*shipper.Cursor, shipper.Command, shipper.DeadFilter) (int, error)) handler {
	return func(r *http.Request, p httprouter.Params) (any, error) {
		var req DeadRequest
		c, err := a.command(r, p, &req)
		if err != nil {
			return nil, err
		}
		n, err := change(c, req.Command.shipper(), req.Filter)
		return DeadReply{Letters: n}, err
	}
}

// importDead adds the letters of a body of JSON lines, as an export has them.
func (a *api) importDead(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
	n, err := a.readDead(r, p)
	if err != nil {
		a.fail(w, err)
		return
	}
	reply(w, http.StatusOK, DeadReply{Letters: n})
}

func (a *api) readDead(r *http.Request, p httprouter.Params) (int, error) {
	if err := a.admit(r); err != nil {
		return 0, err
	}
	c, err := a.named(p)
	if err != nil {
		return 0, err
	}
	var letters []shipper.DeadLetter
	for d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxImport)); ; {
		var letter shipper.DeadLetter
		if err := d.Decode(&letter); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, refuse(http.StatusBadRequest, "letter %d cannot be read (at most %d bytes are imported at once): %w", len(letters)+1, maxImport, err)
		}
		if letter.Unreadable {
			continue // an export names it, and has nothing of it
		}
		if letter.Seq == 0 || len(letter.Raw) == 0 {
			return 0, refuse(http.StatusBadRequest, "letter %d has no seq or no event", len(letters)+1)
		}
		letters = append(letters, letter)
	}
	q := r.URL.Query()
	return c.Import(shipper.Command{By: q.Get("by"), Why: q.Get("why")}, letters)
}

// auditLog streams what operators did, oldest first; ?limit=N: the last N.
func (a *api) auditLog(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		limit, err := number(r, "limit", math.MaxUint64)
		if err != nil {
			return err
		}
		var entries []shipper.TrailEntry // the trail is bounded
		err = a.Cursors.Trail(func(e shipper.TrailEntry) error {
			entries = append(entries, e)
			return nil
		})
		if err != nil {
			return err
		}
		if over := uint64(len(entries)); over > limit {
			entries = entries[over-limit:]
		}
		for _, e := range entries {
			if err := line(e); err != nil {
				return err
			}
		}
		return nil
	})
}
