package receiver

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"forebay/shipper/session/header"
)

// Delivery is one request as it came, or the part of one that took effect.
type Delivery struct {
	LogID   string            `json:"log_id"`
	Project string            `json:"project_id"`
	Session string            `json:"session_id"`
	Epoch   uint64            `json:"epoch"`
	Seqs    []uint64          `json:"seqs"`           // of Events, ascending
	Gaps    header.Ranges     `json:"gaps,omitempty"` // seqs that the session does not get
	Fill    header.Ranges     `json:"fill,omitempty"` // Seqs again, if they fill gaps
	Replay  bool              `json:"replay,omitempty"`
	Events  []json.RawMessage `json:"events"`
}

// empty says that nothing took effect.
func (d Delivery) empty() bool { return len(d.Seqs) == 0 && len(d.Gaps) == 0 }

// body is the request's body. A receiver that needs no more than this works.
type body struct {
	Project *string           `json:"project_id"`
	Session *string           `json:"session_id"`
	Events  []json.RawMessage `json:"events"`
}

// parse reads a request and checks that headers and body tell the same.
func parse(req *http.Request, maxBody int64) (Delivery, error) {
	var b body
	raw, err := readBody(req, maxBody)
	if err != nil {
		return Delivery{}, err
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return Delivery{}, fmt.Errorf("body: %w", err)
	}
	if b.Project == nil || b.Session == nil || len(b.Events) == 0 {
		return Delivery{}, fmt.Errorf("body: want project_id, session_id and at least one event")
	}
	d := Delivery{Project: *b.Project, Session: *b.Session, Events: b.Events}
	return d, d.readHeader(req.Header)
}

// errCutOff is a body that did not come whole. The network did that; the
// sender broke nothing.
var errCutOff = errors.New("body is cut off")

func readBody(req *http.Request, limit int64) ([]byte, error) {
	r := io.Reader(req.Body)
	switch encoding := req.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		r = z
	default:
		return nil, fmt.Errorf("body: Content-Encoding %q is not taken", encoding)
	}
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCutOff, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("body: more than %d bytes", limit)
	}
	return raw, nil
}

// readHeader fills in what the headers say.
func (d *Delivery) readHeader(h http.Header) error {
	key, err := header.ParseKey(h.Get(header.IdempotencyKey))
	if err != nil {
		return err
	}
	d.LogID, d.Epoch = key.LogID, key.Epoch
	if d.Seqs, err = header.ParseSeqs(h.Get(header.Seqs)); err != nil {
		return err
	}
	if d.Gaps, err = header.ParseRanges(h.Get(header.Gaps)); err != nil {
		return fmt.Errorf("%s: %w", header.Gaps, err)
	}
	if d.Fill, err = header.ParseRanges(h.Get(header.Fill)); err != nil {
		return fmt.Errorf("%s: %w", header.Fill, err)
	}
	d.Replay = h.Get(header.Replay) == "true"
	first, last := d.Seqs[0], d.Seqs[len(d.Seqs)-1]
	switch {
	case h.Get(header.Epoch) != strconv.FormatUint(key.Epoch, 10):
		return fmt.Errorf("%s and %s differ", header.Epoch, header.IdempotencyKey)
	case key.Session != header.NewSessionID(d.Project, d.Session):
		return fmt.Errorf("%s is of another session than the body", header.IdempotencyKey)
	case key.First != first || key.Last != last:
		return fmt.Errorf("%s and %s differ", header.Seqs, header.IdempotencyKey)
	case len(d.Seqs) != len(d.Events):
		return fmt.Errorf("%d seqs for %d events", len(d.Seqs), len(d.Events))
	case key.Fill != (len(d.Fill) > 0):
		return fmt.Errorf("%s and %s differ", header.Fill, header.IdempotencyKey)
	}
	return d.checkFill()
}

// checkFill holds Forebay-Fill against Forebay-Seqs: they name the same seqs.
func (d *Delivery) checkFill() error {
	if len(d.Fill) == 0 {
		return nil
	}
	for _, seq := range d.Seqs {
		if !d.Fill.Contains(seq) {
			return fmt.Errorf("seq %d is not in %s", seq, header.Fill)
		}
	}
	if d.Fill.Len() != uint64(len(d.Seqs)) {
		return fmt.Errorf("%s names %d seqs for %d events", header.Fill, d.Fill.Len(), len(d.Seqs))
	}
	return nil
}
