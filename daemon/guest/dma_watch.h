/* What devices of guests tried that the IOMMU stopped becomes an event that names the guest: at
 * most one for each device in DMA_WATCH_PAUSE_MS, with how often it was meanwhile. Loop thread. */
#ifndef QVM_DAEMON_GUEST_DMA_WATCH_H
#define QVM_DAEMON_GUEST_DMA_WATCH_H

struct dma_watch;
struct err;
struct events;
struct store;
struct uv_loop_s;

#define DMA_WATCH_PAUSE_MS 60000

/* Follow the kernel's log from now on. -EACCES and others: it cannot be read. */
int dma_watch_create(struct uv_loop_s *loop, struct store *store, struct events *events,
                     struct dma_watch **watch, struct err *err);

/* NULL is none. The memory goes when the loop has run the closing of its handle. */
void dma_watch_destroy(struct dma_watch *watch);

#endif
