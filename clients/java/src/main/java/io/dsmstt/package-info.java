/**
 * Transcribes speech with a dsm-stt service: {@link io.dsmstt.DsmSttClient} is the connection, {@link
 * io.dsmstt.Stream} a session under way, {@link io.dsmstt.Event} what it tells.
 */
package io.dsmstt;
