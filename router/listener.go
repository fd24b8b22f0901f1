package router

import (
	"net"
	"sync"
)

// boundedListener accepts no more connections than places. Further ones wait in
// the kernel's queue. Unlike a wrapper of net.Conn, its connections can still
// be closed in one direction, which net/http needs to end a connection without
// cutting off the reply.
type boundedListener struct {
	*net.TCPListener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBoundedListener(l *net.TCPListener, places int) *boundedListener {
	return &boundedListener{TCPListener: l, places: make(chan struct{}, places), closed: make(chan struct{})}
}

// Accept waits for a place and then for a connection.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{TCPConn: conn, places: l.places}, nil
}

// Close ends Accept.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	*net.TCPConn
	places <-chan struct{}
	once   sync.Once
}

// Close closes the connection. Only the first call does anything.
func (c *boundedConn) Close() (err error) {
	c.once.Do(func() {
		err = c.TCPConn.Close()
		<-c.places
	})
	return err
}
