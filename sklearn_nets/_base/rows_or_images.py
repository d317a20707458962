"""Nets for which rows are as good as images."""

from __future__ import annotations

from .image_nets import ImageTrainingMixin
from .image_reading import ImageReadingMixin
from .parameters import net_class


@net_class
class RowsOrImagesMixin(ImageReadingMixin, ImageTrainingMixin):
    """Rows, or images of one size; rows of whatever length are no doubtful images."""

    def _row_shape(self, n_features, reset):
        if self.image_shape is None:
            return (1, 1, n_features) if reset else self.image_shape_
        return super()._row_shape(n_features, reset)

    def _samples_at_once(self, shape):
        # rows go through linear layers, which are slow on a few of them
        return super()._samples_at_once(() if self._is_tabular() else shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
