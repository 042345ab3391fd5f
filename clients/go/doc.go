// Package dsmstt transcribes speech with a dsm-stt service, while it is spoken or from a recording.
//
// A Client is one connection to a service. Recognize transcribes a whole recording; Stream opens a session that takes
// audio and gives typed events: words with their times, turns, pause probabilities.
//
// Contexts bound everything: that of a unary call its time, that of Stream the session's whole life. Calls that the
// service refuses for now (UNAVAILABLE, or RESOURCE_EXHAUSTED with a delay) are tried again as RetryPolicy says; with
// StreamConfig.Resume, so are sessions whose connection breaks, without a word lost or doubled.
package dsmstt
