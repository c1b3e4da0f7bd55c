// @ts-check
/** The frame that a video shows, as PNG. */

/**
 * @param {HTMLVideoElement} video
 * @param {number} mostPixels a larger frame is scaled down to so many
 * @returns {Promise<Blob | string>} the picture, or why there is none
 */
export async function pictureOf(video, mostPixels) {
  const { videoWidth, videoHeight } = video;
  if (video.readyState < 2 || !videoWidth || !videoHeight) return "no frame is shown yet";
  const scale = Math.min(1, Math.sqrt(mostPixels / (videoWidth * videoHeight)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(videoWidth * scale));
  canvas.height = Math.max(1, Math.floor(videoHeight * scale));
  try {
    const context = canvas.getContext("2d");
    if (!context) return "the browser draws nothing here";
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return picture ?? "the browser could not make a picture of it";
  } catch {
    return "the browser does not give away a frame that came by this road";
  }
}
