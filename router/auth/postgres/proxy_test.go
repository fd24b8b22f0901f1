package postgres_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a source and the server. Mute, it lets no notification
// through, as a pooler does that lends a server out for one transaction at a time.
type proxy struct {
	listener  net.Listener
	server    atomic.Pointer[string]
	mute      bool // set before the first connection
	swallowed atomic.Int64
	refusing  atomic.Bool
	carrying  sync.WaitGroup
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	p.move(server)
	p.carrying.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.carrying.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// refuse says whether new connections are closed at once.
func (p *proxy) refuse(yes bool) { p.refusing.Store(yes) }

// move has new connections go to another server.
func (p *proxy) move(server string) { p.server.Store(&server) }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.carrying.Go(func() { p.carry(client) })
	}
}

func (p *proxy) carry(client net.Conn) {
	defer client.Close()
	if p.refusing.Load() {
		return
	}
	server, err := net.Dial("tcp", *p.server.Load())
	if err != nil {
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	p.copyAnswers(client, server)
	client.Close()
	requests.Wait()
}

// copyAnswers passes the server's messages on: a type, four bytes of length that
// count themselves, and the rest.
func (p *proxy) copyAnswers(client io.Writer, server io.Reader) {
	const notification = 'A'
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(server, head); err != nil {
			return
		}
		var to = client
		if p.mute && head[0] == notification {
			to = io.Discard
			p.swallowed.Add(1)
		}
		if _, err := to.Write(head); err != nil {
			return
		}
		if _, err := io.CopyN(to, server, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return
		}
	}
}
