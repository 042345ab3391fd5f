package io.dsmstt;

import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Events between the session, which waits when too many wait, and whoever iterates over them. */
final class EventQueue implements StreamListener, Iterator<Event> {
  private static final int MOST = 64;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final ArrayDeque<Event> events = new ArrayDeque<>();
  private boolean closed;
  private boolean abandoned;
  private DsmSttException failure;

  @Override
  public void onEvent(Event event) {
    lock.lock();
    try {
      while (events.size() >= MOST && !abandoned) {
        changed.awaitUninterruptibly();
      }
      events.addLast(event);
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void onClosed(DsmSttException reason) {
    lock.lock();
    try {
      closed = true;
      failure = reason;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Lets the session go on, as nobody takes events any more. */
  void abandon() {
    lock.lock();
    try {
      abandoned = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Waits for the next event; false at the end of the session. Throws DsmSttException when the session has failed. */
  @Override
  public boolean hasNext() {
    lock.lock();
    try {
      while (events.isEmpty() && !closed) {
        changed.await();
      }
      if (events.isEmpty() && failure != null) {
        throw failure;
      }
      return !events.isEmpty();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw DsmSttException.cancelled("", "interrupted while waiting for an event");
    } finally {
      lock.unlock();
    }
  }

  @Override
  public Event next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the session is over");
    }
    lock.lock();
    try {
      changed.signalAll();
      return events.removeFirst();
    } finally {
      lock.unlock();
    }
  }
}
