package torturetest

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"forebay/shipper/session/receiver"
)

// ReceiverCommand is the name under which the test binary runs Receive.
const ReceiverCommand = "torture-receiver"

// Receive is the main function of the reference receiver as a process, which is killed in the end:
//
//	torture-receiver ADDR STATEFILE
//
// What it has acknowledged is in the state file.
func Receive() {
	fmt.Fprintln(os.Stderr, receive(os.Args[1], os.Args[2]))
	os.Exit(1)
}

func receive(addr, stateFile string) error {
	r, err := receiver.New(receiver.Options{StateFile: stateFile})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
