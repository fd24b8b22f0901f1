package router_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine that a test starts, and every one of the router's, has ended
// when the tests have.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
