package routertest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Shape is how a request is put into the frames of HTTP/2.
type Shape struct {
	Length  bool // the header says how long the body is
	Expect  bool // the header asks for leave to send it
	Trailer bool // something follows the body
	Frame   int  // bytes of body in a frame; 0 is as many as may be
}

// largestFrame is what every HTTP/2 server takes.
const largestFrame = 16 << 10

// SendHTTP2 sends a request on a new connection to addr and, once that has
// ended, a GET of a path that does not exist. It returns all frames that tell
// the sender something, one a line, with the value of date blanked.
func SendHTTP2(t testing.TB, addr string, shape Shape, path, body string, headers ...string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	h := &http2Conn{t: t, framer: http2.NewFramer(conn, conn)}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.encoder = hpack.NewEncoder(&h.block)
	h.check(h.framer.WriteSettings())
	fields := []string{":method", "POST", ":scheme", "https", ":authority", "test", ":path", path}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, strings.ToLower(name), value)
	}
	if shape.Length {
		fields = append(fields, "content-length", strconv.Itoa(len(body)))
	}
	if shape.Expect {
		fields = append(fields, "expect", "100-continue")
	}
	h.headers(1, false, fields...)
	size := shape.Frame
	if size == 0 {
		size = largestFrame
	}
	for rest := []byte(body); ; {
		n := min(size, len(rest))
		h.check(h.framer.WriteData(1, n == len(rest) && !shape.Trailer, rest[:n]))
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	if shape.Trailer {
		h.headers(1, true, "x-trailer", "1")
	}
	h.read(1)
	h.headers(3, true, ":method", "GET", ":scheme", "https", ":authority", "test", ":path", "/nowhere")
	h.read(3)
	return h.seen.String()
}

// http2Conn is a connection, and what has been seen on it.
type http2Conn struct {
	t       testing.TB
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	seen    strings.Builder
}

func (h *http2Conn) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("HTTP/2: %v, after:\n%s", err, h.seen.String())
	}
}

func (h *http2Conn) headers(stream uint32, end bool, fields ...string) {
	h.t.Helper()
	h.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		h.check(h.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	h.check(h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.block.Bytes(), EndHeaders: true, EndStream: end}))
}

// read notes frames up to the end of a stream. What only says how far the body
// has been taken depends on how it came, and is left out.
func (h *http2Conn) read(stream uint32) {
	h.t.Helper()
	for {
		frame, err := h.framer.ReadFrame()
		h.check(err)
		header := frame.Header()
		ended := header.StreamID == stream && header.Flags.Has(http2.FlagDataEndStream)
		switch f := frame.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame, *http2.PingFrame:
			continue
		case *http2.MetaHeadersFrame:
			fmt.Fprintf(&h.seen, "%d HEADERS end=%v\n", header.StreamID, ended)
			for _, field := range f.Fields {
				if field.Name == "date" {
					field.Value = "(blanked)"
				}
				fmt.Fprintf(&h.seen, "  %s: %s\n", field.Name, field.Value)
			}
		case *http2.DataFrame:
			fmt.Fprintf(&h.seen, "%d DATA end=%v %q\n", header.StreamID, ended, f.Data())
		default:
			fmt.Fprintf(&h.seen, "%v\n", frame)
			ended = ended || header.Type == http2.FrameRSTStream && header.StreamID == stream
		}
		if ended {
			return
		}
	}
}
