package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"forebay/shipper"
	"forebay/shipper/session/header"
)

// maxMarksBytes bounds the answer to a question for marks: of one session, a
// mark for each log that sent events of it.
const maxMarksBytes = 1 << 20

// ErrMarksNotOffered says that the Session Manager does not answer
// GET /v1/sessions/marks, which is optional.
var ErrMarksNotOffered = errors.New("the Session Manager does not offer GET /v1/sessions/marks")

// ReceiverMark is how far a session came, as the Session Manager has it.
type ReceiverMark struct {
	LogID string        `json:"log_id"`
	Epoch uint64        `json:"epoch"`          // the highest that it has seen
	Seq   uint64        `json:"seq"`            // all up to here was taken, or announced as a gap
	Gaps  header.Ranges `json:"gaps,omitempty"` // announced, and not filled
}

// Marks asks a Session Manager how far sessions came.
type Marks struct{ client *client }

// NewMarks checks the options; nothing is asked before Of.
func NewMarks(o Options) (*Marks, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &Marks{c}, nil
}

// Close gives up idle connections.
func (m *Marks) Close() { m.client.close() }

// Of returns the session's marks, one for each log, or none if the Session
// Manager does not know the session. The error is ErrMarksNotOffered if it
// does not answer such questions.
func (m *Marks) Of(ctx context.Context, project, session string) ([]ReceiverMark, error) {
	ctx, cancel := context.WithTimeout(ctx, m.client.timeout)
	defer cancel()
	target := *m.client.url
	target.Path = strings.TrimSuffix(target.Path, "/events") + "/marks"
	target.RawQuery = url.Values{"project_id": {project}, "session_id": {session}}.Encode()
	res, err := m.client.do(ctx, http.MethodGet, &target, http.Header{}, "")
	if err != nil {
		return nil, fmt.Errorf("ask the Session Manager for a session's marks: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil, ErrMarksNotOffered
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &shipper.PauseError{
			Reason: "the Session Manager refuses the credentials for its marks: put a valid bearer token into shippers.session.token_file",
			Err:    fmt.Errorf("it answers %s", res.Status),
		}
	default:
		return nil, fmt.Errorf("ask for a session's marks: the Session Manager answers %s", res.Status)
	}
	var answer struct {
		Marks []ReceiverMark `json:"marks"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxMarksBytes)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read a session's marks: %w", err)
	}
	return answer.Marks, nil
}

// DeliveredTo is how far a session came in the cursor's epoch beyond the
// cursor's position, 0 if not.
func DeliveredTo(c *shipper.Cursor, project, session string) (uint64, error) {
	value, err := c.Lane(markPrefix + header.NewSessionID(project, session).String())
	if err != nil || value == nil {
		return 0, err
	}
	var m mark
	if err := json.Unmarshal(value, &m); err != nil {
		return 0, fmt.Errorf("the saved mark of a session cannot be read: %w", err)
	}
	if m.Epoch != c.Epoch() {
		return 0, nil
	}
	return m.Seq, nil
}
