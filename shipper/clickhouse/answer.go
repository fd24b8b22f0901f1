package clickhouse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ClickHouse/ch-go/compress"
	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// answer is what ClickHouse sends over HTTP when it has done what was asked.
type answer int

const (
	answerRows    answer = iota // a block of rows, for a read
	answerNothing               // no byte, for a statement
	answerStored                // no byte, for rows that were sent
	answerHosts                 // what became of a statement at each host of a cluster
)

type answerKey struct{}

// expecting notes in a request's context which answer it has to get.
func expecting(ctx context.Context, a answer) context.Context {
	return context.WithValue(ctx, answerKey{}, a)
}

// noAnswerError is an answer over HTTP that does not say that ClickHouse has
// done what was asked. What became of the request is open.
type noAnswerError struct{ what string }

func (e *noAnswerError) Error() string {
	return "not acknowledged: the answer " + e.what + "; a proxy in between, or the server broke off"
}

// maxAnswer bounds what is read of an answer that should be empty, in bytes.
const maxAnswer = 64 << 10

// checkedTransport lets an answer of status 200 pass only if ClickHouse gave
// it, and gave all of it. The driver takes a 200 for success whatever it says.
type checkedTransport struct{ next http.RoundTripper }

func (t checkedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	want, _ := req.Context().Value(answerKey{}).(answer)
	var sent *countedBody
	if want == answerStored && req.Body != nil {
		sent = &countedBody{ReadCloser: req.Body}
		req = req.Clone(req.Context())
		req.Body = sent
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := check(res, want); err != nil {
		_ = res.Body.Close() // the rest of it is of no use, and neither is the connection
		return nil, err
	}
	if sent != nil && res.StatusCode == http.StatusOK && sent.bytes.Load() == 0 {
		return nil, errors.New("not acknowledged: no row could be encoded")
	}
	return res, nil
}

// countedBody counts what was sent of a request.
type countedBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// check reads as much of an answer as it takes to tell what it says. Other
// statuses than 200 are errors already; but the client would follow a redirect.
func check(res *http.Response, want answer) error {
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return &noAnswerError{fmt.Sprintf("is a redirect (HTTP %d), which is not followed", res.StatusCode)}
	case res.StatusCode != http.StatusOK:
		return nil
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch encoding := res.Header.Get("Content-Encoding"); {
	case exceptionCode(res.Header) != 0:
		body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		return exception(body, exceptionCode(res.Header))
	case !named(res.Header):
		return &noAnswerError{fmt.Sprintf("has no X-ClickHouse header (Content-Type %q)", kind)}
	case kind == "text/html":
		return &noAnswerError{"is a page of HTML"}
	case encoding != "" && encoding != "identity":
		return &noAnswerError{fmt.Sprintf("has Content-Encoding %q, which was not asked for", encoding)}
	case want == answerRows:
		return checkRows(res)
	}
	return checkEmpty(res, want == answerHosts)
}

// named tells whether ClickHouse has put its name on the answer. Every version
// does; which headers differs.
func named(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Clickhouse-") {
			return true
		}
	}
	return false
}

// checkRows looks at how a read's answer begins; the driver decodes it.
func checkRows(res *http.Response) error {
	if format := res.Header.Get("X-Clickhouse-Format"); format != "" && format != "Native" {
		return &noAnswerError{fmt.Sprintf("has the format %q instead of Native", format)}
	}
	if res.ContentLength == 0 {
		return &noAnswerError{"is empty"}
	}
	r := bufio.NewReader(res.Body)
	begin, err := r.Peek(len("Code: "))
	switch {
	case err != nil && len(begin) == 0:
		return &noAnswerError{"is empty"}
	case string(begin) == "Code: ":
		body, _ := io.ReadAll(io.LimitReader(r, maxAnswer))
		return exception(body, 0)
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{r, res.Body}
	return nil
}

// checkEmpty reads an answer that says all by being complete and empty.
func checkEmpty(res *http.Response, hosts bool) error {
	if res.ContentLength < 0 && len(res.TransferEncoding) == 0 && res.ProtoMajor < 2 {
		return &noAnswerError{"has no length, so that nobody can tell whether it is whole"}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("not acknowledged: the answer is cut short: %w", err)
	}
	if code := exceptionCode(res.Trailer); code != 0 {
		return exception(body, code)
	}
	if text := plain(body); len(body) > 0 && (!hosts || exceptionText.Match(text)) {
		return exception(text, 0)
	}
	_ = res.Body.Close()
	res.Body, res.ContentLength = http.NoBody, 0
	return nil
}

// plain undoes the compression of blocks, if there is one.
func plain(body []byte) []byte {
	out, err := io.ReadAll(io.LimitReader(compress.NewReader(bytes.NewReader(body)), maxAnswer))
	if err != nil && !errors.Is(err, io.EOF) || len(out) == 0 {
		return body
	}
	return out
}

func exceptionCode(h http.Header) int32 {
	code, err := strconv.ParseInt(h.Get("X-Clickhouse-Exception-Code"), 10, 32)
	if err != nil {
		return 0
	}
	return int32(code)
}

var exceptionText = regexp.MustCompile(`Code: (\d+)[.,](?: DB::\w*Exception:| e\.displayText\(\) =)?\s*`)

// exception is the error that an answer tells of; code is what its header
// says, 0 if that says nothing.
func exception(body []byte, code int32) error {
	body = plain(body)
	at := exceptionText.FindSubmatchIndex(body)
	if at == nil && code == 0 {
		return &noAnswerError{fmt.Sprintf("has %d bytes where there should be none", len(body))}
	}
	e := &driver.Exception{Code: code, Name: "DB::Exception"}
	if at != nil {
		if said, err := strconv.ParseInt(string(body[at[2]:at[3]]), 10, 32); err == nil && code == 0 {
			e.Code = int32(said)
		}
		e.Message = string(body[at[1]:])
	}
	return e
}
