package main

import (
	"fmt"
	"time"

	"forebay/shipper"
)

// whyCursor says in a line why a cursor does not simply run, "" if it does: what
// is over is not said.
func whyCursor(s shipper.Status) string {
	switch {
	case s.State == shipper.Paused && s.Pause != nil:
		return fmt.Sprintf("paused by %s %s ago, %s: %s", s.Pause.By, ago(s.Pause.Since), untilText(s.Pause), s.Pause.Reason)
	case s.State == shipper.Failing:
		return fmt.Sprintf("fails for %s%s: %s", ago(s.ErrorSince), nextTry(s.NextTry), s.LastError)
	case s.Parked != nil:
		return fmt.Sprintf("%s: %s", parkedText(s), s.Parked.Cause)
	}
	return ""
}

// parkedText sums up the sessions that fail while others are delivered.
func parkedText(s shipper.Status) string {
	return fmt.Sprintf("parked %s for %s, %s waiting%s",
		count(s.Parked.Sessions, "session"), ago(s.Parked.Since), count(s.Parked.Events, "event"), nextTry(s.Parked.NextTry))
}

func nextTry(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", next try in " + time.Until(at).Round(time.Second).Abs().String()
}

// untilText says when a pause ends.
func untilText(p *shipper.Pause) string {
	switch {
	case !p.Until.IsZero():
		return "until " + p.Until.Format(time.RFC3339)
	case p.Asks:
		return "until its cause has gone"
	}
	return "until it is resumed"
}
