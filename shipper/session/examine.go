package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Examination is what a Session Manager says of itself.
type Examination struct {
	Marks    bool   // it offers GET /v1/sessions/marks, and answered as the contract says
	MarksErr error  // it offers them, and answered something else
	Status   int    // of its answer to a GET where events are posted, if Marks is false
	Err      error  // why events cannot be delivered; nil: nothing is known to be in the way
	Advice   string // what to do about Err
}

// examinedSession is asked for; no sender is likely to have such a one.
const examinedSession = "forebay-doctor"

// Examine asks the Session Manager, by GET alone, whether it can be reached
// and takes the token: for the marks of a session that there is not, which is
// optional, and where those are not offered at the address that events are
// posted to. No event is sent, and nothing that a receiver could take for one.
func Examine(ctx context.Context, o Options) (e Examination, err error) {
	m, err := NewMarks(o)
	if err != nil {
		return e, err
	}
	defer m.Close()
	_, err = m.Of(ctx, examinedSession, examinedSession)
	if err == nil {
		e.Marks = true
		return e, nil
	}
	if !errors.Is(err, ErrMarksNotOffered) {
		e.MarksErr = err // may be wrong with this question alone: the next one decides
	}
	ctx, cancel := context.WithTimeout(ctx, m.client.timeout)
	defer cancel()
	res, err := m.client.do(ctx, http.MethodGet, m.client.url, http.Header{}, "")
	if err != nil {
		e.Err, e.Advice = failure(err, m.client.timeout).err, "mend shippers.session.url, ca_file or the way to the Session Manager; events wait in the log meanwhile"
		return e, nil
	}
	text, _ := readAnswer(ctx, res, cancel)
	e.Status = res.StatusCode
	said := fmt.Errorf("the Session Manager answers %s to GET %s", res.Status, m.client.url)
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Err, e.Advice = said, "put the token that it wants into shippers.session.token_file"
	case code >= 300 && code < 400:
		e.Err, e.Advice = said, "redirects are not followed: set shippers.session.url to the final address"
	case code < 300 && foreign(res.Header.Get("Content-Type"), text):
		e.Err = fmt.Errorf("%w with a page of HTML or XML", said)
		e.Advice = "see what stands at shippers.session.url: a proxy, a login page or another service"
	case code >= 500 && code != http.StatusNotImplemented:
		e.Err, e.Advice = said, "mend the Session Manager; events wait in the log meanwhile"
	}
	return e, nil
}
